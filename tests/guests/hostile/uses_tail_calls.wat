;; An honest component that also holds a module with tail calls.
(module
  (func $f return_call $f))
