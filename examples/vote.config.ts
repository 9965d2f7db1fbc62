/**
 * Three opinions: the diagnosis codes of a letter are looked for in two ways at once. Where they differ a third decides,
 * and where that says something else again a person does. Here the voters are small functions, so that the example runs
 * anywhere; in earnest they are models of different houses: `of: ['gpt', 'claude']`.
 *
 *   endstate dev --config examples/vote.config.ts
 *   echo '{ "text": "Seizures (G40.909), hypertension I10." }' > letter.json
 *   endstate submit letter.json --pipeline codes --wait
 */
import { compute, endstate } from 'endstate'
import { z } from 'zod'

const Letter = z.object({ text: z.string().max(100_000) })
const Codes = z.object({ codes: z.array(z.string()) })

const textOf = async (input: { json(): Promise<unknown> }) => Letter.parse(await input.json()).text
const sorted = (codes: Iterable<string>) => ({ codes: [...new Set(codes)].toSorted() })

const es = endstate({
  providers: {
    pattern: compute({
      run: async ({ input }) => sorted((await textOf(input)).match(/\b[A-TV-Z]\d{2}(?:\.\d{1,4})?\b/g) ?? []),
    }),
    words: compute({
      run: async ({ input }) =>
        sorted((await textOf(input)).split(/[\s,;()]+|\.(?=\s|$)/).filter((word) => /^[A-Z]\d\d/.test(word))),
    }),
    strict: compute({
      run: async ({ input }) => sorted((await textOf(input)).match(/(?<=\s|^)[A-Z]\d{2}\.\d{1,4}(?=[\s,.;]|$)/g) ?? []),
    }),
  },
})

const codes = es
  .pipeline('codes', { revision: 1, description: 'The diagnosis codes of a letter.', accepts: ['application/json'] })
  .vote('codes', {
    of: ['pattern', 'words'],
    output: Codes,
    deadline: '5s',
    // A function says the same each time.
    attempts: 1,
    agree: (a, b) => a.codes.join() === b.codes.join(),
    tieBreaker: { use: ['strict'] },
    price: { fixed: '0.05', currency: 'EUR' },
  })

export default es.config({ pipelines: [codes] })
