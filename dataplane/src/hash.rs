//! The mixing step of the keyed hashes of tables: with a secret that is not 0 in either operand, whoever chooses keys cannot choose
//! which of them meet.

/// Both halves of the product, folded.
#[inline(always)]
pub(crate) const fn mix(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}
