;; A tool that would stand in for the host's own.
;;@ tool "artifact_import"
