;; An honest component that also holds a module with 128-bit arithmetic.
(module
  (func (result i64 i64) (i64.mul_wide_u (i64.const 1) (i64.const 1))))
