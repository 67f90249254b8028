;; A guest that asks for the network, the environment and a standard output.
(;@wit
package attack:attack;
world attack {
  include helix:toolpack/toolpack@1.0.0;
  import wasi:sockets/network@0.2.0;
  import wasi:cli/environment@0.2.0;
  import wasi:io/streams@0.2.0;
}
package wasi:sockets@0.2.0 {
  interface network {
    connect: func();
  }
}
package wasi:cli@0.2.0 {
  interface environment {
    count: func() -> u32;
  }
}
package wasi:io@0.2.0 {
  interface streams {
    flush: func();
  }
}
;)
(import "wasi:sockets/network@0.2.0" "connect" (func $connect))
(import "wasi:cli/environment@0.2.0" "count" (func $count (result i32)))
(import "wasi:io/streams@0.2.0" "flush" (func $flush))
;;; end of imports
