/**
 * A bundle of letters: each becomes a record of its own, with its own retries, charges and history; the bundle waits for
 * all of them, and is one result in the end.
 *
 *   endstate dev --config examples/map.config.ts
 *   echo '{ "letters": ["Patient: Ann Example", "Patient: Bob Example"] }' > bundle.json
 *   endstate submit bundle.json --pipeline bundle --wait
 */
import { endstate, extract, ExtractOutput } from 'endstate'
import { z } from 'zod'

const es = endstate({ providers: { extract: extract({ slots: 2 }) } })

const letter = es
  .pipeline('letter', { revision: 1, description: 'One letter.', accepts: ['application/json'], maxWait: '5m' })
  .step('extract', {
    use: ['extract'],
    output: ExtractOutput,
    deadline: '10s',
    price: { fixed: '0.10', currency: 'EUR', unless: ({ fields }) => fields.length === 0 },
  })

const Bundle = z.object({ letters: z.array(z.string().max(100_000)).max(50) })

const bundle = es
  .pipeline('bundle', {
    revision: 1,
    description: 'Many letters at once.',
    accepts: ['application/json'],
    maxWait: '5m',
  })
  .compute('split', { description: 'The letters of the bundle.', output: Bundle }, async (_, input) =>
    Bundle.parse(await input.json()),
  )
  .map('letters', {
    over: ({ split }) => split.letters.map((text) => ({ text })),
    pipeline: letter,
    take: 'extract',
    max: 50,
    wait: '10m',
    // One letter that cannot be read does not hold up the others.
    partial: true,
  })
  .compute('summary', { output: z.object({ letters: z.int(), fields: z.int(), failed: z.int() }) }, ({ letters }) => ({
    letters: letters.length,
    fields: letters.reduce((sum, one) => sum + (one?.fields.length ?? 0), 0),
    failed: letters.filter((one) => one === null).length,
  }))

export default es.config({ pipelines: [bundle, letter] })
