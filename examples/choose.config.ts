/**
 * What a letter says decides its way: an urgent one gets a note for the doctor on call, any other goes on as it is. The
 * choice is a step: its result, the name of the way, is in the record.
 *
 *   endstate dev --config examples/choose.config.ts
 *   echo '{ "text": "Patient: Ann Example\nUrgency: urgent" }' > letter.json
 *   endstate submit letter.json --pipeline triage --wait
 */
import { endstate, extract, ExtractOutput } from 'endstate'
import { z } from 'zod'

const es = endstate({ providers: { extract: extract({ slots: 1 }) } })

const valueOf = ({ fields }: ExtractOutput, name: string): string | null => {
  const value = fields.find((field) => field.name === name)?.value
  return typeof value === 'string' ? value : null
}

const triage = es
  .pipeline('triage', { revision: 1, description: 'Urgent letters get a note.', accepts: ['application/json'] })
  .step('extract', { use: ['extract'], output: ExtractOutput, deadline: '10s' })
  .choose('way', (choice) =>
    choice
      .when(
        'urgent',
        ({ extract: found }) => ['urgent', 'emergency'].includes(valueOf(found, 'urgency') ?? ''),
        (branch) =>
          branch.compute(
            'note',
            { output: z.object({ to: z.string(), department: z.string().nullable() }) },
            (outputs) => ({
              to: 'on-call',
              department: valueOf(outputs.extract, 'department'),
            }),
          ),
      )
      .otherwise(),
  )
  .compute('done', { output: z.object({ noted: z.boolean() }) }, ({ note }) => ({ noted: note !== undefined }))

export default es.config({ pipelines: [triage] })
