/**
 * The config that comes with Endstate: referrals, scanned or as text, become structured fields, with engines that run
 * inside the worker. No account, no key, no network. Copy this file to start your own.
 */
import { endstate, extract, ExtractOutput, plausible, PlausibleOutput, ReadOutput, tesseract } from 'endstate'

const es = endstate({
  providers: {
    tesseract: tesseract({ slots: 2 }),
    extract: extract({ slots: 1 }),
    // The second opinion: the same page looked at another way, a PDF's own text not believed.
    'tesseract-sparse': tesseract({ slots: 1, segmentation: 'sparse', textLayer: false }),
    'extract-sparse': extract({ slots: 1 }),
  },
})

const referral = es
  .pipeline('referral', {
    revision: 2,
    description: 'A scanned referral: read its pages, extract its fields, check that they are plausible.',
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
  // Engines lose decimal points: what can't be is shown to a person, with its place on the page.
  .compute('check', { description: 'Are the fields possible at all?', output: PlausibleOutput }, ({ extract: found }) =>
    plausible(found),
  )

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

/** What a referral says, apart from where it stands, how sure the reading was, and the laboratory's ranges. */
const factsOf = ({ fields }: ExtractOutput): string =>
  fields
    .map(({ name, value }) => {
      if (name === 'labValue') return [name, value.name, value.value, value.unit]
      return name === 'medication' ? [name, value.drug, value.dose, value.unit] : [name, value]
    })
    .map((fact) => fact.join(' ').toLowerCase())
    .toSorted()
    .join('\n')

const secondOpinion = es
  .pipeline('second-opinion', {
    revision: 1,
    description: 'A scanned referral, read and extracted twice at once: only what both say alike is taken.',
    accepts: ['image/png', 'image/jpeg', 'image/tiff', 'application/pdf'],
    inputBytesMax: 32 * 1024 * 1024,
    maxWait: '1h',
    lease: { sendWithin: '2s', failover: '3s' },
  })
  .parallel('reading', (branch) => ({
    block: branch.step('read', {
      description: 'Reads each page as one block of text.',
      use: ['tesseract'],
      output: ReadOutput,
      deadline: '25s',
    }),
    sparse: branch.step('read-sparse', {
      description: 'Reads each page piece by piece.',
      use: ['tesseract-sparse'],
      output: ReadOutput,
      deadline: '40s',
    }),
  }))
  .vote('fields', {
    description: 'The fields of the referral, if both readings say the same.',
    of: ['extract', 'extract-sparse'],
    request: (outputs, voter) => ({ pages: outputs[voter === 'extract' ? 'read' : 'read-sparse'].pages }),
    output: ExtractOutput,
    deadline: '10s',
    // Disagreement is investigated, with both answers side by side.
    agree: (a, b) => factsOf(a) === factsOf(b),
    price: { fixed: '0.60', currency: 'EUR', unless: ({ fields }) => fields.length === 0 },
  })
  .compute('check', { description: 'Are the fields possible at all?', output: PlausibleOutput }, ({ fields }) =>
    plausible(fields),
  )

export default es.config({
  pipelines: [referral, letter, secondOpinion],
  // Each charge is published once it is written: subject `endstate.charges`, see docs/ledger.md.
  charges: { nats: true },
})
