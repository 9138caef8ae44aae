import wabt from 'wabt';

/**
 * A stand-in for what `opa build -t wasm` makes of the contract's policy: a module with the same imports
 * and exports (OPA's WebAssembly ABI 1.2), whose `opa_eval` looks for the members in question in the text
 * of its input. Entrypoint 1 answers an object, 2 something senseless.
 */
const SOURCE = String.raw`(module
  (import "env" "memory" (memory 2))
  (import "env" "opa_abort" (func $abort (param i32)))
  (global (export "opa_wasm_abi_version") i32 (i32.const 1))
  (global (export "opa_wasm_abi_minor_version") i32 (i32.const 3))
  (global $heap (mut i32) (i32.const 8192))
  (data (i32.const 256) "{}\00")
  (data (i32.const 512) "{\"mcp/authz/allow\":0,\"mcp/authz/explained\":1,\"mcp/authz/senseless\":2}\00")
  (data (i32.const 1024) "[{\"result\":true}]\00")
  (data (i32.const 1088) "[{\"result\":false}]\00")
  (data (i32.const 1152) "[{\"result\":{\"allow\":false,\"reason\":\"closed\"}}]\00")
  (data (i32.const 1280) "[{\"result\":42}]\00")
  (data (i32.const 1344) "[]\00")
  (data (i32.const 1408) "no such thing\00")
  (data (i32.const 2048) "\"id\":\"mallory\"")
  (data (i32.const 2112) "\"amount\":101")
  (data (i32.const 2176) "\"key\":\"secret\"")
  (data (i32.const 2240) "\"key\":\"broken\"")
  (data (i32.const 2304) "\"key\":\"undefined\"")
  (func (export "builtins") (result i32) (i32.const 256))
  (func (export "entrypoints") (result i32) (i32.const 512))
  (func (export "opa_json_dump") (param i32) (result i32) (local.get 0))
  (func (export "opa_json_parse") (param i32 i32) (result i32) (local.get 0))
  (func (export "opa_heap_ptr_get") (result i32) (global.get $heap))
  (func (export "opa_heap_ptr_set") (param i32) (global.set $heap (local.get 0)))
  (func (export "opa_malloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (global.get $heap) (local.get $size)))
    (local.get $at))
  (func $has (param $text i32) (param $length i32) (param $word i32) (param $size i32) (result i32)
    (local $at i32) (local $i i32)
    (block $absent
      (loop $next
        (br_if $absent (i32.gt_s (i32.add (local.get $at) (local.get $size)) (local.get $length)))
        (local.set $i (i32.const 0))
        (block $differs
          (loop $compare
            (br_if $differs (i32.ne
              (i32.load8_u (i32.add (i32.add (local.get $text) (local.get $at)) (local.get $i)))
              (i32.load8_u (i32.add (local.get $word) (local.get $i)))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $compare (i32.lt_s (local.get $i) (local.get $size))))
          (return (i32.const 1)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (i32.const 0))
  (func (export "opa_eval") (param $reserved i32) (param $entry i32) (param $data i32) (param $input i32) (param $length i32) (param $top i32) (param $format i32) (result i32)
    (global.set $heap (local.get $top))
    (if (call $has (local.get $input) (local.get $length) (i32.const 2240) (i32.const 14)) (then (call $abort (i32.const 1408))))
    (if (call $has (local.get $input) (local.get $length) (i32.const 2304) (i32.const 17)) (then (return (i32.const 1344))))
    (if (i32.eq (local.get $entry) (i32.const 1)) (then (return (i32.const 1152))))
    (if (i32.eq (local.get $entry) (i32.const 2)) (then (return (i32.const 1280))))
    (if (call $has (local.get $input) (local.get $length) (i32.const 2048) (i32.const 14)) (then (return (i32.const 1088))))
    (if (call $has (local.get $input) (local.get $length) (i32.const 2112) (i32.const 12)) (then (return (i32.const 1088))))
    (if (call $has (local.get $input) (local.get $length) (i32.const 2176) (i32.const 14)) (then (return (i32.const 1088))))
    (i32.const 1024)))`;

/** The stand-in, assembled. */
export async function policyModule(): Promise<Uint8Array<ArrayBuffer>> {
  const module = (await wabt()).parseWat('policy.wat', SOURCE);
  try {
    return new Uint8Array(module.toBinary({}).buffer);
  } finally {
    module.destroy();
  }
}
