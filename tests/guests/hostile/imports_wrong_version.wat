;; Our interface at a version that this host does not speak: a linker would match it to 1.0.0.
(;@wit
package attack:attack;
world attack {
  include helix:toolpack/toolpack@1.0.0;
  import helix:toolpack/log@1.1.0;
}
package helix:toolpack@1.1.0 {
  interface log {
    shout: func();
  }
}
;)
(import "helix:toolpack/log@1.1.0" "shout" (func $shout))
;;; end of imports
