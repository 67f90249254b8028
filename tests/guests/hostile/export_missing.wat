;; A component without its most important function.
(;@wit
package attack:attack;
world attack {
  use helix:toolpack/types@1.0.0.{manifest, call, proposal, tool-error};
  import helix:toolpack/artifacts@1.0.0;
  import helix:toolpack/outputs@1.0.0;
  import helix:toolpack/log@1.0.0;
  export describe: func() -> manifest;
  export plan: func(call: call) -> result<proposal, tool-error>;
}
;)
