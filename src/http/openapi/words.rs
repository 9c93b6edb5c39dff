//! The schemas of words of the domain, which knows nothing of this specification.

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat,
        schema::{AdditionalProperties, ArrayBuilder, SchemaType, Type},
    },
};

use crate::domain::{ActivitySource, EndReason, OnTimeout, Status, egress::Ranges, spec::Limits};

/// The schema of each word: a string that is one of its spellings.
macro_rules! words {
    ($($word:ident: $description:literal,)+) => { $(
        impl PartialSchema for $word {
            fn schema() -> RefOr<Schema> {
                let words = $word::ALL.iter().map(|word| word.as_str());
                let text = ObjectBuilder::new().schema_type(Type::String).description(Some($description));
                text.enum_values(Some(words)).into()
            }
        }

        impl ToSchema for $word {}
    )+ };
}

words! {
    Status: "Where a sandbox is in its life: the seven persisted and public names.",
    EndReason: "Why a sandbox ended: recorded, logged, counted, and kept on the tombstone.",
    OnTimeout: "What happens when the active timeout passes.",
    ActivitySource: "What counts as use and resets the idle clock.",
}

impl PartialSchema for Limits {
    fn schema() -> RefOr<Schema> {
        let limit = |kind, format, description: &str| {
            let kind = SchemaType::from_iter([kind, Type::Null]);
            let format = Some(SchemaFormat::KnownFormat(format));
            ObjectBuilder::new().schema_type(kind).format(format).description(Some(description))
        };
        ObjectBuilder::new()
            .description(Some("What a container may use. `None` leaves a resource to the engine's own limit."))
            .property("cpus", limit(Type::Number, KnownFormat::Double, "CPU cores; 0.5 is half of one."))
            .property("memory_mb", limit(Type::Integer, KnownFormat::Int64, "Memory in MiB, swap included."))
            .property("pids", limit(Type::Integer, KnownFormat::Int64, "Processes and threads."))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .into()
    }
}

impl ToSchema for Limits {}

impl PartialSchema for Ranges {
    fn schema() -> RefOr<Schema> {
        let list = |description: &str| {
            let range = ObjectBuilder::new().schema_type(Type::String);
            ArrayBuilder::new().items(range).description(Some(description))
        };
        ObjectBuilder::new()
            .description(Some("Addresses and ranges of them; what is in both lists is open."))
            .property("allow", list("What is open."))
            .property("deny", list("What is shut."))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .into()
    }
}

impl ToSchema for Ranges {}
