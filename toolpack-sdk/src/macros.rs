//! The two macros: what a tool reads and writes, and what a toolpack is.

/// Takes down a tool's roles, types, counts and labels once: the manifest and the fields that the
/// code uses both come from this text, so they cannot disagree.
///
/// An input is `role: [TYPE, …] MIN..=MAX "description";`, an output is
/// `role: TYPE "label" MIN..=MAX check LEVEL "description";` where the level is `none`, `sniff`
/// or `whole`. The types are the constants of [`crate::types`]. A last line `steps;` gives a tool that
/// starts container steps the field `steps`, a [`crate::Steps`].
///
/// ```
/// helix_toolpack::tool_io! {
///     /// What the tool reads and writes.
///     pub struct Io {
///         inputs { reads: [FASTQ, FASTQ_GZ] 1..=2 "One file, or both files of a pair"; }
///         outputs { metrics: JSON "metrics.json" 1..=1 check whole "All numbers"; }
///     }
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! tool_io {
    (
        $(#[$doc:meta])*
        $visibility:vis struct $name:ident {
            inputs { $(
                $in_role:ident: [$($in_type:ident),+ $(,)?] $in_min:literal..=$in_max:literal $in_text:literal;
            )* }
            outputs { $(
                $out_role:ident: $out_type:ident $label:literal $out_min:literal..=$out_max:literal
                    check $level:ident $out_text:literal;
            )* }
            $($steps:ident;)?
        }
    ) => {
        $(#[$doc])*
        $visibility struct $name {
            $(#[doc = $in_text] pub $in_role: $crate::InputRole,)*
            $(#[doc = $out_text] pub $out_role: $crate::OutputRole,)*
            $(#[doc = "Starts container steps."] pub $steps: $crate::Steps,)?
        }

        impl $crate::ToolIo for $name {
            fn inputs() -> ::std::vec::Vec<$crate::DeclaredInput> {
                ::std::vec![$($crate::DeclaredInput {
                    role: stringify!($in_role).to_owned(),
                    types: ::std::vec![$($crate::types::$in_type.to_owned()),+],
                    count: $crate::Count { min: $in_min, max: $in_max },
                    description: $in_text.to_owned(),
                }),*]
            }

            fn outputs() -> ::std::vec::Vec<$crate::DeclaredOutput> {
                ::std::vec![$($crate::DeclaredOutput {
                    role: stringify!($out_role).to_owned(),
                    artifact_type: $crate::types::$out_type.to_owned(),
                    label: $label.to_owned(),
                    count: $crate::Count { min: $out_min, max: $out_max },
                    description: $out_text.to_owned(),
                    check: $crate::tool_io!(@level $level),
                }),*]
            }

            const STEPS: bool = false $(|| $crate::tool_io!(@steps $steps))?;

            fn link(session: &$crate::private::Session) -> Self {
                Self {
                    $($in_role: $crate::InputRole::new(session, stringify!($in_role)),)*
                    $($out_role: $crate::OutputRole::new(session, stringify!($out_role)),)*
                    $($steps: $crate::Steps::new(session),)?
                }
            }
        }
    };
    (@steps steps) => { true };
    (@level none) => { $crate::CheckLevel::None };
    (@level sniff) => { $crate::CheckLevel::Sniff };
    (@level whole) => { $crate::CheckLevel::Whole };
}

/// Makes a toolpack of some tools: a type `Pack` that natively implements [`crate::Toolpack`],
/// and in a component is what the host calls.
///
/// ```text
/// export_toolpack! {
///     name: "hello",
///     version: env!("CARGO_PKG_VERSION"),
///     description: "Greets.",
///     licence: "Apache-2.0",
///     homepage: "https://example.org",
///     tools: [Hello],
/// }
/// ```
#[macro_export]
macro_rules! export_toolpack {
    (
        name: $name:expr,
        version: $version:expr,
        description: $description:expr,
        licence: $licence:expr,
        homepage: $homepage:expr,
        tools: [$($tool:ty),+ $(,)?] $(,)?
    ) => {
        /// This toolpack.
        pub struct Pack;

        impl $crate::Toolpack for Pack {
            fn manifest() -> $crate::Manifest {
                $crate::Manifest {
                    name: $name.to_owned(),
                    version: $version.to_owned(),
                    description: $description.to_owned(),
                    licence: $licence.to_owned(),
                    homepage: $homepage.to_owned(),
                    tools: ::std::vec![$($crate::private::declare::<$tool>()),+],
                }
            }

            fn plan(call: &$crate::Call) -> ::std::result::Result<$crate::Proposal, $crate::ToolError> {
                $(if call.tool == <$tool as $crate::Tool>::NAME {
                    return $crate::private::plan::<$tool>(call);
                })+
                ::std::result::Result::Err($crate::private::unknown_tool(call))
            }

            fn run(
                call: &$crate::Call,
                host: ::std::rc::Rc<dyn $crate::private::Host>,
            ) -> ::std::result::Result<$crate::Report<::std::string::String>, $crate::ToolError> {
                $(if call.tool == <$tool as $crate::Tool>::NAME {
                    return $crate::private::run::<$tool>(call, host);
                })+
                ::std::result::Result::Err($crate::private::unknown_tool(call))
            }
        }

        #[cfg(target_family = "wasm")]
        const _: () = {
            type Exported = $crate::guest::Exported<Pack>;
            $crate::guest::bindings::export!(Exported with_types_in $crate::guest::bindings);
        };
    };
}
