// Scan a voucher with the camera, where the browser can read codes by itself; pasting always works.

const scanner = document.getElementById("scanner");
const camera = document.getElementById("camera");
const button = document.getElementById("scan");
const form = document.getElementById("voucher-form");

async function canScan() {
  if (!("BarcodeDetector" in window) || !navigator.mediaDevices?.getUserMedia) return false;
  return (await BarcodeDetector.getSupportedFormats()).includes("qr_code");
}

async function scan() {
  button.hidden = true;
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    document.getElementById("no-camera").hidden = false;
    return;
  }
  camera.srcObject = stream;
  camera.hidden = false;
  await camera.play();
  const detector = new BarcodeDetector({ formats: ["qr_code"] });
  const look = async () => {
    const [found] = await detector.detect(camera).catch(() => []);
    if (!found) return setTimeout(look, 200);
    for (const track of stream.getTracks()) track.stop();
    camera.hidden = true;
    form.elements.voucher.value = found.rawValue;
    // An amount that was typed goes along; left empty, as most people do, all of it is taken.
    form.requestSubmit();
  };
  look();
}

if (await canScan()) {
  scanner.hidden = false;
  button.addEventListener("click", scan);
}
