/** Flows as code, and what becomes of them: definitions and migrations. */
export { toDefinition, toSql } from './compile.js';
export type { FlowDocument, StepDocument } from './compile.js';
export type { StepContext } from './context.js';
export { FlowDefinitionError } from './definition.js';
export { isFlow } from './brand.js';
export { Flow, type } from './flow.js';
export type {
  AnyFlow, Executor, FlowInput, FlowOptions, FlowOutput, Handler, MapInput, Resort, SingleInput, StepDefinition,
  StepDefinitionOptions, StepOptions, StepOutput, StepSlug, Type,
} from './flow.js';
export type { FlowError, Json, JsonObject } from './json.js';
