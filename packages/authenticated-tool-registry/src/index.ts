export { AccessPolicy, type AccessRequest, type Decision, type Denial } from './access-policy.js';
export type {
  Access,
  AccessEnvironment,
  AccessRule,
  AccessSubject,
  ArgumentPredicate,
  AttributePredicate,
} from './access-rule.js';
export { AuthenticatedToolRegistry, type Registration, type RegistrationOptions } from './authenticated-tool-registry.js';
export type { Completer, Completers, CompletionContext } from './completion.js';
export type { Conditions } from './condition.js';
export type { ContentAnnotations, ContentBlock, EmbeddedContents, Icon, InputRequiredResult } from './content.js';
export { type DecisionAnswer, type DecisionPoint, type DecisionRequest, type EntryKind, policyInput } from './decision-point.js';
export type { HandlerContext, LogLevel } from './handler-context.js';
export type { Mask } from './mask.js';
export { type PlainTextOptions, plainText } from './plain-text.js';
export type { Presentation } from './presentation.js';
export type { PromptDefinition, PromptHandler, PromptMessage, PromptReturn } from './prompt.js';
export type { Quota } from './quota.js';
export type { AuthenticatedToolRegistryOptions, RegistryCapability } from './registry-options.js';
export type { RequestStateOptions } from './request-state.js';
export type {
  CacheHint,
  FixedResourceDefinition,
  ResourceContents,
  ResourceDefinition,
  ResourceReader,
  ResourceReturn,
  ResourceTemplateDefinition,
  ResourceTemplateReader,
} from './resource.js';
export { RoleHierarchy } from './role-hierarchy.js';
export type { Schema, SchemaInput, SchemaOutput, SchemaResult } from './schema.js';
export type { TimeWindow, Weekday } from './time-window.js';
export type { StructuredToolResult, ToolAnnotations, ToolDefinition, ToolHandler, ToolResult, ToolReturn } from './tool.js';
export { isToolError, ToolError } from './tool-error.js';
export { UriTemplate } from './uri-template.js';
