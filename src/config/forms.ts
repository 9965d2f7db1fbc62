/**
 * From the forms of a pipeline (steps, regions at once, choices, detours) to the chart of its machine. Pure.
 *
 * F1 A pipeline of steps alone has no chart of its own: the machine makes the sequence.
 * F2 Every region has one final state, whichever way it ends, so that the parallel state is always done.
 * F3 A step without a result ends in investigation, unless it is inside an optional region or leads to its detour.
 * F4 A guard reads a choice that is already the result of a step: XState tells no outputs where regions have joined, and
 *    what was once chosen stays chosen.
 */
import type { StepDefinition } from '../machines/pipeline.js'
import type { OwnChart } from '../machines/record-machine.js'
import { SETTLED_IDS, stepState, type Target } from '../machines/step-state.js'

export type Region = { name: string; optional: boolean; forms: readonly Form[] }
export type Form =
  | { kind: 'step'; step: StepDefinition }
  | { kind: 'parallel'; name: string; description: string; regions: readonly Region[] }
  /** The step's output is the name of a way. */
  | { kind: 'choice'; step: StepDefinition; ways: readonly { name: string; forms: readonly Form[] }[] }
  /** The detour is taken when the step has no result; either way what follows is next. */
  | { kind: 'detour'; step: StepDefinition; detour: StepDefinition }

const REGION_END = 'finished'

type Place = {
  /** Keys from the root to where these forms lie. */
  path: readonly string[]
  next: string
  /** As a step state takes it: a path under the root, or `investigation`. */
  exhausted: string
}
type States = { [name: string]: unknown }
type Guards = OwnChart['guards']
type LaidOut = { first: string; states: States; guards: Guards }

/** Every step, in the order of the text: what requests are typed by. */
export const stepsOf = (forms: readonly Form[]): StepDefinition[] =>
  forms.flatMap((form) => {
    if (form.kind === 'parallel') return form.regions.flatMap((region) => stepsOf(region.forms))
    if (form.kind === 'choice') return [form.step, ...form.ways.flatMap((way) => stepsOf(way.forms))]
    return form.kind === 'detour' ? [form.step, form.detour] : [form.step]
  })

const at = (step: StepDefinition, done: Target, exhausted: string) => ({
  [step.name]: stepState(step.name, { description: step.description, done, exhausted }),
})

/** From the last to the first, because each needs to know where it leads. */
const sequence = (forms: readonly Form[], place: Place): LaidOut =>
  forms.reduceRight<LaidOut>(
    ({ first, states, guards }, form) => {
      const laid = layOut(form, { ...place, next: first })
      return { first: laid.first, states: { ...laid.states, ...states }, guards: { ...laid.guards, ...guards } }
    },
    { first: place.next, states: {}, guards: {} },
  )

const layOut = (form: Form, place: Place): LaidOut => {
  if (form.kind === 'parallel') return parallel(form, place)
  if (form.kind === 'choice') return choice(form, place)
  const { step } = form
  if (form.kind === 'step') return { first: step.name, states: at(step, place.next, place.exhausted), guards: {} }
  const { detour } = form
  const aside = [...place.path, detour.name].join('.')
  const rejoin = place.next.startsWith('#') ? place.exhausted : [...place.path, place.next].join('.')
  return {
    first: step.name,
    states: { ...at(step, place.next, aside), ...at(detour, place.next, rejoin) },
    guards: {},
  }
}

const parallel = (form: Form & { kind: 'parallel' }, place: Place): LaidOut => {
  const guards: Guards = {}
  const states: States = {}
  for (const { name, optional, forms } of form.regions) {
    const path = [...place.path, form.name, name]
    const exhausted = optional ? [...path, REGION_END].join('.') : place.exhausted
    const laid = sequence(forms, { path, next: REGION_END, exhausted })
    Object.assign(guards, laid.guards)
    states[name] = {
      initial: laid.first,
      description: optional ? 'May end without a result.' : 'Ends with its result.',
      states: { ...laid.states, [REGION_END]: { type: 'final', description: 'Waits for the other regions.' } },
    }
  }
  const state = { type: 'parallel', description: form.description, states, onDone: place.next }
  return { first: form.name, states: { [form.name]: state }, guards }
}

const choice = ({ step, ways }: Form & { kind: 'choice' }, place: Place): LaidOut => {
  const guards: Guards = {}
  const states: States = {}
  const targets = ways.map(({ name, forms }) => {
    const laid = sequence(forms, place)
    Object.assign(states, laid.states)
    Object.assign(guards, laid.guards)
    return { name, target: laid.first }
  })
  const last = targets.at(-1)!
  const done = targets.slice(0, -1).map(({ name, target }) => {
    const guard = `${step.name} is ${name}`
    guards[guard] = (outputs) => chosen(outputs, step.name) === name // F4
    return { guard, target }
  })
  return {
    first: step.name,
    states: { ...at(step, [...done, { target: last.target }], place.exhausted), ...states },
    guards,
  }
}

/** A guard that could not see what was chosen would choose anew, and wrongly: then it is better to stop. */
const chosen = (outputs: { [step: string]: unknown }, step: string): unknown => {
  if (!Object.hasOwn(outputs, step)) throw new Error(`The choice "${step}" is not among the outputs.`)
  return outputs[step]
}

/** Names of states that are no steps. */
const placesIn = (forms: readonly Form[]): string[] =>
  forms.flatMap((form) => {
    if (form.kind === 'parallel') return [form.name, ...form.regions.flatMap((region) => placesIn(region.forms))]
    return form.kind === 'choice' ? form.ways.flatMap((way) => placesIn(way.forms)) : []
  })

/** Null for a plain sequence (F1). Throws TypeError for names that clash; a step defined twice is refused later, by name. */
export const chartOf = (pipeline: string, forms: readonly Form[]): OwnChart | null => {
  if (forms.every(({ kind }) => kind === 'step')) return null
  const taken = new Set([...stepsOf(forms).map(({ name }) => name), ...Object.keys(SETTLED_IDS)])
  if (stepsOf(forms).some(({ name }) => name === REGION_END)) throw clash(pipeline, REGION_END)
  for (const name of placesIn(forms)) {
    if (taken.has(name) || name === REGION_END) throw clash(pipeline, name)
    taken.add(name)
  }
  const place = { path: [], next: SETTLED_IDS.completed, exhausted: 'investigation' }
  const { first, states, guards } = sequence(forms, place)
  return { initial: first, states, guards, delaysMs: {} }
}

const clash = (pipeline: string, name: string) =>
  new TypeError(`The name "${name}" is taken in pipeline "${pipeline}"; choose another.`)
