;; A guest that asks for the time and for randomness.
(;@wit
package attack:attack;
world attack {
  include helix:toolpack/toolpack@1.0.0;
  import wasi:clocks/monotonic-clock@0.2.0;
  import wasi:random/random@0.2.0;
}
package wasi:clocks@0.2.0 {
  interface monotonic-clock {
    now: func() -> u64;
  }
}
package wasi:random@0.2.0 {
  interface random {
    get-random-u64: func() -> u64;
  }
}
;)
(import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
(import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
;;; end of imports
