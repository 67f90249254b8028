;; An honest component that also holds a component with an error context.
(component
  (type (func (result error-context))))
