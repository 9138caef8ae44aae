import { RpcError, type RpcErrorCode, type RpcErrorOptions } from '@mcp-blocks/core';

/** A call that is refused after it began: audited as a denial of this type, not as a failed execution. */
export class RefusedCall extends RpcError {
  readonly auditType: string;

  constructor(auditType: string, code: RpcErrorCode, message: string, options: RpcErrorOptions & { readonly auditReason: string }) {
    super(code, message, options);
    this.auditType = auditType;
  }
}
