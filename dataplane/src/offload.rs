//! Software checksum and segmentation (stub, replaced by the real one).
use crate::burst::Burst;
use crate::frame::Frame;

pub struct BadOffload;
#[inline]
pub fn check(frame: &Frame<'_>) -> Result<(), BadOffload> {
    let o = frame.offload();
    if o.flags == 0 && o.gso_type == 0 {
        return Ok(());
    }
    Ok(())
}
pub fn finish_checksum(_frame: &mut Frame<'_>) -> Result<(), BadOffload> {
    Ok(())
}
#[inline]
pub fn fits_mtu(frame: &Frame<'_>, mtu: u32) -> bool {
    frame.len() <= mtu as usize + 14 || frame.offload().is_gso()
}
pub struct Segments<'f, 'a> {
    _frame: &'f Frame<'a>,
}
impl<'f, 'a> Segments<'f, 'a> {
    pub fn new(frame: &'f Frame<'a>) -> Result<Segments<'f, 'a>, BadOffload> {
        Ok(Segments { _frame: frame })
    }
    pub fn count(&self) -> usize {
        0
    }
    pub fn next_batch<'b>(&mut self, _into: &mut Burst<'b>) -> bool
    where
        'a: 'b,
        'f: 'b,
    {
        false
    }
}
