;; A guest that asks for files.
(;@wit
package attack:attack;
world attack {
  include helix:toolpack/toolpack@1.0.0;
  import wasi:filesystem/preopens@0.2.0;
}
package wasi:filesystem@0.2.0 {
  interface preopens {
    count: func() -> u32;
  }
}
;)
(import "wasi:filesystem/preopens@0.2.0" "count" (func $count (result i32)))
;;; end of imports
