//! A challenge's picture (ISO/IEC 18004), as SVG and as PNG.
//!
//! Open to whoever knows the challenge's id, as an `img` can't send a header: the picture holds nothing that its creator may not know, and
//! who has seen it can do no more than scan it.

use fast_qr::{
    ECL, QRBuilder, QRCode,
    convert::{Builder as _, svg::SvgBuilder},
};
use http::{HeaderValue, header::CONTENT_TYPE};
use orinoco_actors::ChallengeError;
use orinoco_domain::challenge::ChallengeKey;
use warp::reply::Response;

use super::{challenges::id, request::Request};
use crate::http::{
    challenges::qr_payload,
    problem::{Problem, internal},
};

/// Modules of light around the picture (ISO/IEC 18004, section 9.1).
const QUIET_MODULES: usize = 4;
/// Pixels of a module's side.
const MODULE_PIXELS: usize = 8;

pub(super) async fn svg(request: &Request) -> Result<Response, Problem> {
    let code = code(request).await?;
    Ok(picture("image/svg+xml", SvgBuilder::default().margin(QUIET_MODULES).to_str(&code).into_bytes()))
}

pub(super) async fn png(request: &Request) -> Result<Response, Problem> {
    let code = code(request).await?;
    let bytes = png_of(&code).map_err(|error| {
        tracing::error!(%error, "a picture was not made");
        internal()
    })?;
    Ok(picture("image/png", bytes))
}

async fn code(request: &Request) -> Result<QRCode, Problem> {
    request.no_query()?;
    let id = id(request)?;
    let view = request.deps.challenges.look(ChallengeKey::of(&id)).await?;
    let auth = request.auth();
    let nonce = view.record.nonce(auth.derivation()).ok_or(ChallengeError::NotFound)?;
    let payload = qr_payload(&auth.options.public_url, &id, &nonce);
    QRBuilder::new(payload).ecl(ECL::M).build().map_err(|_| {
        tracing::error!("http.public_url is too long for a picture");
        internal()
    })
}

fn picture(content_type: &'static str, bytes: Vec<u8>) -> Response {
    let mut response = Response::new(bytes.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// One bit a pixel, 1 is light.
fn png_of(code: &QRCode) -> Result<Vec<u8>, png::EncodingError> {
    let side = (code.size + 2 * QUIET_MODULES) * MODULE_PIXELS;
    let row_bytes = side.div_ceil(8);
    let mut pixels = vec![0xff_u8; row_bytes * side];
    for y in 0..side {
        for x in 0..side {
            let module = |pixel: usize| (pixel / MODULE_PIXELS).checked_sub(QUIET_MODULES);
            let is_dark = match (module(x), module(y)) {
                (Some(column), Some(row)) if column < code.size && row < code.size => code[row][column].value(),
                _ => false,
            };
            if is_dark {
                pixels[y * row_bytes + x / 8] &= !(0x80 >> (x % 8));
            }
        }
    }
    let mut bytes = Vec::new();
    // A few hundred pixels.
    let side = u32::try_from(side).unwrap_or(u32::MAX);
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_png_shows_the_code_s_modules_within_a_quiet_zone() {
        let code = QRBuilder::new("https://orinoco.example/qr?challengeId=x#nonce=y").ecl(ECL::M).build().unwrap();
        let bytes = png_of(&code).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width as usize, info.bit_depth), ((code.size + 8) * 8, png::BitDepth::One));
        let is_dark = |column: usize, row: usize| {
            let (x, y) = ((column + 4) * 8 + 4, (row + 4) * 8 + 4);
            pixels[y * info.line_size + x / 8] & (0x80 >> (x % 8)) == 0
        };
        for row in 0..code.size {
            for column in 0..code.size {
                assert_eq!(is_dark(column, row), code[row][column].value(), "{column} {row}");
            }
        }
        assert!(pixels[..info.line_size * 32].iter().all(|byte| *byte == 0xff), "the quiet zone is light");
    }
}
