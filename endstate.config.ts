/**
 * The config that comes with Endstate: referrals, scanned or as text, become structured fields, with engines that run
 * inside the worker. No account, no key, no network. Copy this file to start your own.
 */
import { endstate, extract, ExtractOutput, ReadOutput, tesseract } from 'endstate'

const es = endstate({
  providers: {
    tesseract: tesseract({ slots: 2 }),
    extract: extract({ slots: 1 }),
  },
})

const referral = es
  .pipeline('referral', {
    revision: 1,
    description: 'A scanned referral: read its pages, then extract its fields.',
    accepts: ['image/png', 'image/jpeg', 'image/tiff', 'application/pdf'],
    inputBytesMax: 32 * 1024 * 1024,
    maxWait: '1h',
    // A lease is sendWithin + the step's deadline + failover: a record whose worker was killed goes on after it. Both
    // providers are free, so a call that is repeated too early costs a second of computing; hence shorter than usual.
    lease: { sendWithin: '2s', failover: '3s' },
  })
  .step('read', {
    description: 'Reads the words of every page, with their place and the engine’s confidence.',
    use: ['tesseract'],
    output: ReadOutput,
    // About 1.5 s a page and thread. Documents of more than some 15 pages need more.
    deadline: '25s',
    attempts: 3,
  })
  .step('extract', {
    description: 'Finds the fields of a referral among the words.',
    use: ['extract'],
    request: ({ read }) => ({ pages: read.pages }),
    output: ExtractOutput,
    deadline: '10s',
    attempts: 3,
    // A blank page completes, and costs nothing.
    price: { fixed: '0.40', currency: 'EUR', unless: ({ fields }) => fields.length === 0 },
  })

const letter = es
  .pipeline('letter', {
    revision: 1,
    description: 'A referral as text, { "text": "…" }: extract its fields.',
    accepts: ['application/json'],
    inputBytesMax: 1024 * 1024,
    maxWait: '1h',
    lease: { sendWithin: '2s', failover: '3s' },
  })
  .step('extract', {
    description: 'Finds the fields of a referral in its text.',
    use: ['extract'],
    output: ExtractOutput,
    deadline: '10s',
    attempts: 3,
    price: { fixed: '0.10', currency: 'EUR', unless: ({ fields }) => fields.length === 0 },
  })

export default es.config({ pipelines: [referral, letter] })
