;; A component that does not say what it is.
(func $describe (result i32) (unreachable))
