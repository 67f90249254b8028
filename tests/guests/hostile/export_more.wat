;; A function more than the interface has: nobody calls it.
(;@wit
package attack:attack;
world attack {
  include helix:toolpack/toolpack@1.0.0;
  export helper: func() -> u32;
}
;)
(func $helper (result i32) (unreachable))
(export "helper" (func $helper))
