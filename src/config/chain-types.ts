/**
 * The forms of a pipeline as a config's author sees them: every method answers a chain that knows one output more. Types
 * only; chain.ts carries them out.
 */
import type { z } from 'zod'
import type { CallInput } from '../providers/contract.js'
import type { Duration } from '../providers/durations.js'
import type { PipelineBuilder, StepOptions, StepPrice } from './builder.js'
import type { Built } from './built.js'

export type Outputs = { [step: string]: unknown }
// oxlint-disable-next-line typescript/no-empty-object-type -- the outputs before the first step: no names at all
export type NoOutputs = {}

/** Carries the outputs in the type alone. */
declare const known: unique symbol
export type Knows<O> = { readonly [known]?: O }

/** All outputs of a pipeline, by step name: for functions that are written apart from it. */
export type OutputsOf<T> = T extends Knows<infer O> ? O : never

/** What is already there can't be named again. */
type Fresh<N extends string, O> = N extends keyof O ? never : N
type With<O, N extends string, T> = O & { [name in N]: T }

export type ComputeOptions<S extends z.ZodType> = {
  description?: string
  output: S
  price?: StepPrice<z.output<S>>
}

export type VoteOptions<P extends string, O, S extends z.ZodType> = Omit<StepOptions<P, O, S>, 'use' | 'request'> & {
  /** The voters: each is asked in a step of its own, `<vote>-<provider>`, all at once. */
  of: readonly [P, P, ...P[]]
  /** `voter`: the provider that is asked. */
  request?: (outputs: O, voter: P) => unknown
  /** Do two answers say the same? Asked both ways. */
  agree: (a: z.output<S>, b: z.output<S>) => boolean
  /** So many have to agree. Default: more than half of the voters. */
  quorum?: number
  /** Makes one output of those that agree, in the order of `of`. Default: the first of them. */
  merge?: (answers: readonly z.output<S>[]) => z.output<S>
  /** Asked when there is no quorum; its answer is one vote more. Without one, disagreement is investigated. */
  tieBreaker?: Partial<Pick<StepOptions<P, O, S>, 'deadline' | 'attempts' | 'backoff' | 'onUncertain'>> & {
    use: readonly [P, ...P[]]
    /** `answers`: of the voters that have one. Default: the request of the vote. */
    request?: (outputs: O, answers: readonly z.output<S>[]) => unknown
  }
}

export type MapOptions<O, C extends Outputs, T, Q> = {
  description?: string
  /** The items, as JSON: each becomes the input of a record of its own. */
  over: (outputs: O) => readonly unknown[]
  /** The pipeline of those records. */
  pipeline: { definition: { name: string; accepts: readonly string[] } } & Knows<C>
  /** The step whose output counts. Default: all outputs by step name. */
  take?: T
  /** More items than this fail the step. */
  max: number
  /** How long they may take, all together, from their submission. */
  wait: Duration
  /** Null takes the place of what did not complete, instead of failing the step. */
  partial?: Q
}

type Taken<C, T> = [T] extends [never] ? C : C[T & keyof C]
type Items<C, T, Q> = (Q extends true ? Taken<C, T> | null : Taken<C, T>)[]

export type Kind = 'pipeline' | 'branch'
type Next<P extends string, O extends Outputs, K extends Kind> = K extends 'pipeline'
  ? PipelineBuilder<P, O>
  : Branch<P, O>

export interface Chain<P extends string, O extends Outputs, K extends Kind> extends Knows<O> {
  /** One inference, at one provider or its fallbacks. */
  step<N extends string, S extends z.ZodType>(
    name: Fresh<N, O>,
    options: StepOptions<P, O, S>,
  ): Next<P, With<O, N, z.output<S>>, K>
  /** A pure function as a step. It may throw a StepRefused. */
  compute<N extends string, S extends z.ZodType>(
    name: Fresh<N, O>,
    options: ComputeOptions<S>,
    run: (outputs: O, input: CallInput) => z.input<S> | Promise<z.input<S>>,
  ): Next<P, With<O, N, z.output<S>>, K>
  /** Regions that run at once; what follows waits for all of them. */
  // oxlint-disable-next-line typescript/no-explicit-any -- which outputs a region has is inferred
  parallel<N extends string, R extends { [region: string]: Branch<P, any> | OptionalBranch<any> }>(
    name: Fresh<N, O>,
    regions: (branch: Branch<P, O>) => R,
  ): Next<P, O & Joined<O, R>, K>
  /** A step whose output is the name of the first way whose guard holds; then that way is taken. */
  choose<N extends string, W extends string, X extends Outputs>(
    name: Fresh<N, O>,
    ways: (choice: Choice<P, O, never, NoOutputs>) => Chosen<W, X>,
  ): Next<P, With<O, N, W> & X, K>
  /** Several providers answer, and what they agree on is the output. */
  vote<N extends string, S extends z.ZodType>(
    name: Fresh<N, O>,
    options: VoteOptions<P, O, S>,
  ): Next<P, With<O, N, z.output<S>>, K>
  /** A record of its own for each item; the output is theirs, in the order of the items. */
  map<N extends string, C extends Outputs, T extends keyof C & string = never, Q extends boolean = false>(
    name: Fresh<N, O>,
    options: MapOptions<O, C, T, Q>,
  ): Next<P, With<O, N, Items<C, T, Q>>, K>
}

/** Steps of a region or a way. */
export interface Branch<P extends string, O extends Outputs> extends Chain<P, O, 'branch'> {
  readonly built: Built
  /** A region that may end without its results: they are possibly undefined then. */
  optional(): OptionalBranch<O>
}
export type OptionalBranch<O> = { readonly optional: true; readonly built: Built } & Knows<O>

type OfRegion<O, B> = B extends { readonly optional: true } & Knows<infer X>
  ? Partial<Omit<X, keyof O>>
  : B extends Knows<infer X>
    ? X
    : never
type Intersection<U> = (U extends unknown ? (each: U) => void : never) extends (all: infer I) => void ? I : never
type Joined<O, R> = Intersection<{ [name in keyof R]: OfRegion<O, R[name]> }[keyof R]>

export interface Choice<P extends string, O extends Outputs, W extends string, X extends Outputs> {
  /** `guard`: over the outputs so far. The first that holds decides. */
  when<V extends string, B extends Outputs>(
    way: V extends W ? never : V,
    guard: (outputs: O) => boolean,
    then: (branch: Branch<P, O>) => Branch<P, B>,
  ): Choice<P, O, W | V, X & Partial<Omit<B, keyof O>>>
  /** The way when no guard holds, by the name `otherwise`; without steps it goes on at once. */
  otherwise(): Chosen<W | 'otherwise', X>
  otherwise<B extends Outputs>(
    then: (branch: Branch<P, O>) => Branch<P, B>,
  ): Chosen<W | 'otherwise', X & Partial<Omit<B, keyof O>>>
}
export type Chosen<W extends string, X extends Outputs> = { readonly way?: W } & Knows<X>
