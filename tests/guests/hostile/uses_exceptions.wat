;; An honest component that also holds a module with exceptions.
(module
  (tag $oops)
  (func (throw $oops)))
