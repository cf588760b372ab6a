//! Why octets are not the header they were taken for.

use core::fmt;

/// Why octets are not the header they were taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// The octets end inside the header.
    Cut,
    /// The version field of the IP header is another one.
    Version,
    /// The header length field is below the length of the fixed part.
    HeaderLength,
    /// There are more IPv6 extension headers than [`crate::ipv6::EXTENSION_HEADERS_MAX`].
    TooManyExtensionHeaders,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeaderError::Cut => "the octets end inside the header",
            HeaderError::Version => "the IP version is another one",
            HeaderError::HeaderLength => "the header length is below the length of the fixed part",
            HeaderError::TooManyExtensionHeaders => "there are too many IPv6 extension headers",
        })
    }
}

impl core::error::Error for HeaderError {}
