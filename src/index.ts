/** The library: what a config and an embedding application import. */
export { endstate } from './config/builder.js'
export type { EndstateConfig, PipelineSource } from './config/builder.js'
export { env } from './providers/secret.js'
export { http } from './providers/http.js'
export { tesseract } from './providers/ocr/tesseract.js'
export { ReadOutput } from './providers/ocr/read-output.js'
export { extract } from './providers/extract/extract.js'
export { ExtractOutput } from './providers/extract/extract-output.js'
