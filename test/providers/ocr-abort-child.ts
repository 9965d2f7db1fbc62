/** Reads a page, aborts in the middle of recognition, closes, and must then have nothing left that keeps it alive. */
import { tesseract } from '../../src/providers/ocr/tesseract.js'
import { callWith, sample } from './samples-fixture.js'

const provider = tesseract({ slots: 1 }).create('ocr', { secret: () => '' })
const abort = new AbortController()
// The first call leaves the engine started, so that the second one is recognising when it is aborted.
await provider.call(callWith(await sample('blank.png')), new AbortController().signal)
const running = provider.call(callWith(await sample('referral-two-pages.pdf')), abort.signal)
setTimeout(() => abort.abort(), 400)
const answer = await running
process.stdout.write(answer.kind === 'succeeded' ? 'succeeded ' : `${'code' in answer ? answer.code : answer.kind} `)
await provider.close()
process.stdout.write('closed\n')
