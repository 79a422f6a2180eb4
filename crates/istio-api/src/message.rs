//! The two macros in which every API type is written, so that a file of a kind is only its catalogue of fields.

/// Whether a field is left out of the JSON: proto3 writes no field that has its zero value.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Declares messages: structs in proto JSON's spelling (camelCase, every field optional, zero values not written).
///
/// `oneof accessor: View { field => Variant(Type), … }` behind a struct says that at most one of the fields may be set.
/// It yields the enum `View` and the method `accessor`, which returns the first set member, and the schema extension
/// `x-oneof` (a list of lists of property names), by which validation reports an object that sets two.
macro_rules! message {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident { $( $(#[$field_meta:meta])* pub $field:ident: $type:ty, )* }
        $( oneof $accessor:ident: $view:ident { $( $member:ident => $variant:ident($member_type:ty) ),+ $(,)? } )*
    )+) => {$(
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        $(#[$meta])*
        #[schemars(extend("x-oneof" = $crate::schema::oneofs(&[$( &[$( stringify!($member) ),+] ),*])))]
        pub struct $name {
            $( $(#[$field_meta])* #[serde(skip_serializing_if = "crate::message::is_default")] pub $field: $type, )*
        }

        $(
            #[doc = concat!("The member that a [`", stringify!($name), "`] sets.")]
            #[derive(Clone, Copy, Debug, PartialEq)]
            pub enum $view<'a> {
                $( #[doc = concat!("`", stringify!($member), "`")] $variant(&'a $member_type), )+
            }

            impl $name {
                #[doc = concat!("The first set member of the oneof (", $( stringify!($member), " ", )+ "), if any.")]
                pub fn $accessor(&self) -> Option<$view<'_>> {
                    $( if let Some(value) = &self.$member { return Some($view::$variant(value)); } )+
                    None
                }
            }
        )*
    )+};
}

/// Declares closed enums with Istio's spelling of the values; the first value is proto's zero and the default. What
/// stands behind a value as `///` is also said in the CRD (`x-values`).
macro_rules! enumeration {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident {
            $(#[doc = $first_doc:literal])+ $first:ident = $first_text:literal
            $(, $(#[doc = $doc:literal])+ $variant:ident = $text:literal )* $(,)?
        }
    )+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            #[default]
            #[serde(rename = $first_text)]
            $(#[doc = $first_doc])+
            $first,
            $( #[serde(rename = $text)] $(#[doc = $doc])+ $variant, )*
        }

        impl $name {
            /// The value in Istio's spelling.
            pub fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_text,
                    $( Self::$variant => $text, )*
                }
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let values = [concat!($($first_doc),+) $(, concat!($($doc),+))*].map(str::trim);
                schemars::json_schema!({ "type": "string", "enum": [$first_text $(, $text)*], "x-values": values })
            }
        }
    )+};
}

/// Declares a struct whose unset fields have Istio's defaults in place of zero (its `Default` is written by hand).
/// Zero values are written (and null for none), because reading them back must not yield the default.
macro_rules! configuration {
    ($(#[$meta:meta])* pub struct $name:ident { $( $(#[$field_meta:meta])* pub $field:ident: $type:ty, )* }) => {
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        $(#[$meta])*
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
        }
    };
}

pub(crate) use {configuration, enumeration, message};
