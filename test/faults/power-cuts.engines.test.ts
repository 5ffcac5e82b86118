import { testPowerCuts } from './power-cuts.ts'

testPowerCuts(3)
