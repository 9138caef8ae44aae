/**
 * One promise an interface makes to its users, as a test that any driver can run. A contract is a list
 * of cases; it knows no test framework:
 *
 * ```ts
 * for (const { name, run } of stateStoreContract) it(name, () => run(harness));
 * ```
 */
export interface ContractCase<Harness> {
  readonly name: string;
  /** Rejects when the driver breaks the promise. */
  run(harness: Harness): Promise<void>;
}
