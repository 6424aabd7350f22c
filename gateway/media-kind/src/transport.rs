//! MPEG transport streams, from whatever byte on.

const SYNC: u8 = 0x47;
/// Bytes of a packet: plain, with the time stamps of a camera, with the check bytes of a receiver.
const PACKETS: [usize; 3] = [188, 192, 204];
/// Fewer packets may be chance.
const MIN_PACKETS: usize = 3;

/// Place of the first packet and bytes from one to the next, when packets follow each other up to the end of `head`.
fn packets(head: &[u8]) -> Option<(usize, usize)> {
    PACKETS.into_iter().find_map(|packet| {
        let offset = (0..packet).find(|offset| {
            let places = (*offset..head.len()).step_by(packet);
            places.clone().count() >= MIN_PACKETS && places.clone().all(|place| head[place] == SYNC)
        })?;
        Some((offset, packet))
    })
}

pub(crate) fn is_transport_stream(head: &[u8]) -> bool {
    packets(head).is_some()
}

/// Whether nearly all packets with media are scrambled, as pay television is.
pub(crate) fn is_scrambled(head: &[u8]) -> bool {
    let Some((offset, packet)) = packets(head) else { return false };
    let (mut media, mut scrambled) = (0, 0);
    for place in (offset..head.len().saturating_sub(4)).step_by(packet) {
        let id = u16::from_be_bytes([head[place + 1] & 0x1f, head[place + 2]]);
        let has_payload = head[place + 3] & 0x10 != 0;
        // Tables are never scrambled, stuffing means nothing.
        if has_payload && (0x20..0x1fff).contains(&id) {
            media += 1;
            scrambled += usize::from(head[place + 3] & 0x80 != 0);
        }
    }
    media >= 20 && scrambled * 10 > media * 9
}
