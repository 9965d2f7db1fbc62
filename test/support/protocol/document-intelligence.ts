/**
 * Azure Document Intelligence as it is published (https://learn.microsoft.com/rest/api/aiservices/document-models/
 * analyze-document-from-stream, 2024-11-30): 202 without a body, `Operation-Location` and `Retry-After`; the operation
 * is asked with GET and holds the result.
 */
import type { Protocol } from '../../../src/testing/testing.js'

export const ANALYSIS = {
  modelId: 'prebuilt-layout',
  content: 'Haemoglobin 8.4 g/dl',
  pages: [{ pageNumber: 1 }, { pageNumber: 2 }],
}

/** `end`: what an operation that has ended says. `elsewhere`: an origin that Operation-Location points to. */
export type AnalysisState = {
  operations: { asked: number; sent: Buffer; type: string }[]
  end: object
  elsewhere?: string
}

export const analysisState = (): AnalysisState => ({
  operations: [],
  end: { status: 'succeeded', analyzeResult: ANALYSIS },
})

export const documentIntelligenceServer = (state: AnalysisState = analysisState()): Protocol => {
  const base = '/documentintelligence/documentModels/prebuilt-layout'
  return (request, { url: origin }) => {
    if (!request.headers['ocp-apim-subscription-key']) return { status: 401, json: { error: { code: '401' } } }
    const url = new URL(request.path, origin)
    if (url.searchParams.get('api-version') !== '2024-11-30')
      return { status: 400, json: { error: { code: 'BadVersion' } } }
    if (request.method === 'POST' && url.pathname === `${base}:analyze`) {
      state.operations.push({ asked: 0, sent: request.body, type: request.headers['content-type'] ?? '' })
      const location = `${state.elsewhere ?? origin}${base}/analyzeResults/${state.operations.length}?api-version=2024-11-30`
      const headers = { 'operation-location': location, 'retry-after': '1', 'apim-request-id': 'e2a1-1' }
      return { status: 202, headers, body: '' }
    }
    const operation = state.operations[Number(url.pathname.replace(`${base}/analyzeResults/`, '')) - 1]
    if (operation === undefined) return { status: 404, json: { error: { code: 'NotFound' } } }
    operation.asked += 1
    const headers = { 'retry-after': '2' }
    if (operation.asked < 3)
      return { status: 200, headers, json: { status: operation.asked === 1 ? 'notStarted' : 'running' } }
    return { status: 200, json: state.end }
  }
}
