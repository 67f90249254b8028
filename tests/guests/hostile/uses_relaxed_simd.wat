;; An honest component that also holds a module with relaxed SIMD, whose results differ from machine to machine.
(module
  (func (result v128)
    (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0))))
