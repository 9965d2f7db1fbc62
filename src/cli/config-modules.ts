/** What a config file imports by name: this process's own modules, so that a config and its host share one of each. */
import * as library from '../index.js'
import * as kit from '../providers/provider-kit.js'

export const CONFIG_MODULES = { endstate: library, 'endstate/provider-kit': kit }
