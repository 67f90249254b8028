;; An honest component that also holds a module with two sections of types.
(module binary "\00asm\01\00\00\00" "\01\01\00" "\01\01\00")
