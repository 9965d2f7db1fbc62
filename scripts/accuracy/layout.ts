/** A way to lay out a case on paper. Every layout states every fact of its case. */
import type { Pen, Typeface } from '../raster.js'
import type { Case } from './case.js'

export type Layout = { name: string; face: Typeface; draw: (pen: Pen, facts: Case) => void }
