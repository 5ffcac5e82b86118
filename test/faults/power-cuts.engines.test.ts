import { testPowerCuts } from './power-cuts.ts'

testPowerCuts({ uploads: 3, creations: 1 })
