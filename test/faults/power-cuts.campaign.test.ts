import { testPowerCuts } from './power-cuts.ts'

testPowerCuts({ uploads: 30, creations: 5 })
