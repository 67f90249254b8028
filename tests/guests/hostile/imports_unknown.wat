;; A guest that asks for an interface nobody has heard of.
(;@wit
package attack:attack;
world attack {
  include helix:toolpack/toolpack@1.0.0;
  import foo:bar/baz;
}
package foo:bar {
  interface baz {
    quux: func();
  }
}
;)
(import "foo:bar/baz" "quux" (func $quux))
;;; end of imports
