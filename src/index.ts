/** The library: what a config and an embedding application import. */
export { endstate } from './config/builder.js'
export type { EndstateConfig, PipelineSource } from './config/builder.js'
export { env } from './providers/secret.js'
