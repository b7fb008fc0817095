//! An RSA key for tests: making one takes longer than most tests do.

use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaEncoding, RsaKeyPair},
};

use super::signing::tlv;

/// A PKCS#1 `RSAPrivateKey` of 2048 bits, in hex. Made for these tests and used nowhere
/// else.
const KEY: &str = "\
    308204a50201000282010100f174a2127b06b21ca8de05aef77b2ba646721be89d3115077d202b653b48d3fd\
    68a8bfb6c71ee94690ce01060277a34649681242c13850a2617dceeab1e83c814506084044f8fdf38038c0ba\
    f1e4dff919aff4db740d68265f3a1b0e62ba9bb254a0e68b84f2d0e65ae8e25a8be6dfd040167910a2ce6ed3\
    3af0cb79ea454aebc5237d43bfbbb9ac0e88af0b9ddff2ba73cc61a863354357c0cb72094c10cedc1cb65e78\
    fac00ab12a03aac18c79887e4837e7bc01ff1374ea1927adf5bbc2c47b7e99b8f46109b5343f35dc1af9652d\
    f9a792c4894433999b9cd9e3467c88e081c38cc6335c157d7245aa30885349ff215da28ed09b2480d40c3051\
    fd51f3f1020301000102820100368d11c2d81dbaa6e3f60955aedf1a8cfdf470debc88e6c5e2dc9e4148441b\
    74f0acd367819437c2f41b3ebaf35ac13e337e7a45afaebff4f7cebb2d6615607a1a34932fa60595266aed27\
    89f4f5af2e71c1c1b1c505f4665af45f418047c5be64055820e460119741a9c4de0d2693a152a16127c3889d\
    1c4700391069bfcefd8614ae4e41cd5d71c0c1ed117694294733ff8b5ecd21740fb734edc8db3c6eb3ce8665\
    a7630f975bbac3c10452b058d7e620ff4842c4be13f7625802d43118adb7cf6345ad2e3630f9cad8b840ecf1\
    46d26ab6afaf5c074e203e0823c880919b68d2f0eeb2757c77d27b5774ec041e6c9d98b64316fa1f08bf6ee2\
    5ebf6c57b302818100fe84147a1a47a5a493bd591bae5affb39e11b91aa17ac0fc62fdafc7264003aaa3fe4b\
    8e38b6dfb64e901c73138ed9f5e5d078a9213ac90df7b2619d5bb67b6ffcf251ef4933fced7f3895c4324abf\
    ba8f53f00d0b7b1ea2ee32ca3effffe845faac992b02deb1eba5de61a9a1bc0e51700609a5d4170051b36cc4\
    7403b1992b02818100f2dd0ec74f719591fe1d793396730383c864fd7df8a2e12746cc1b9916b0d5b38551d8\
    6e0018fb10895122c7d10a168475c99fa741e20a4c04d17a99d8039efdf7dbfe40e86d3b44d53f919c8d921b\
    2bff32f705eaa9e7dc5827f28301eb1d85a903bf374ccea2702df2f9fe18afdd0367f581b1868946b48b436a\
    e7bd1c6153028181009a989fd78b1ef9fe7dbf05e14a86fbca9eb9253687df8859c5c7527e253dbcfc69a08d\
    44562ebeb47e040b43db1d6a4772d0ae7a0d3527ead40a06410ef449063d1ef3a5e5512ed113f5cb02e18985\
    ec4c23302cbc4c8ccf6ae06ef8d5871c0f65b471552ee916298d17073b828238303f5b6b80ced329de769e1a\
    b65d88030102818100cde7f5fbadb353686fd67547f3aa97b44756b844f164c71811c24333cc35293a073299\
    18ca2463d86553d0f5309a28f52d1840b001ffaf533c528e6b98e5990b21f5f6def930832b9cd1449742c039\
    215840d186c6aa3ed666379838d28b90801e07fb3adb77e5e8ce4c4effcbd66ebfd08829e9657345eb149798\
    2fd9fa11d902818100ace05c14cf7014c37b6015ea202382bc18fe04d83d6534466353258a272f2ea7a41582\
    379608990a4a29bb5a76a20a98d042dcd4ebc3fb2055cc0b6235f891736b4d2a9927efa822fdeb9b2502d99a\
    51ae20c15653b2452b5cb02b6bf5763a0855bab1168b35a8affb7f48422eafa8f26a1f77bcaec261194c458d\
    eb2c8f3898";
/// `rsaEncryption` with its parameter, NULL.
const ALGORITHM: [u8; 15] = [0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];

fn key() -> RsaKeyPair {
    let pair = |at| u8::from_str_radix(&KEY[at..at + 2], 16).expect("hex");
    let der: Vec<u8> = (0..KEY.len()).step_by(2).map(pair).collect();
    RsaKeyPair::from_der(&der).expect("a key")
}

/// The public half, as PKCS#1 has it.
#[must_use]
pub fn public_key() -> Vec<u8> {
    key().public().as_ref().to_vec()
}

/// The public half, as a `SubjectPublicKeyInfo`.
#[must_use]
pub fn public_key_info() -> Vec<u8> {
    let bits = tlv(3, &[vec![0], public_key()]);
    tlv(0x30, &[ALGORITHM.to_vec(), bits])
}

/// The signature over `message`: PKCS#1 v1.5, SHA-256.
#[must_use]
pub fn sign(message: &[u8]) -> Vec<u8> {
    signed_by(&RSA_PKCS1_SHA256, message)
}

/// The signature over `message`, in that encoding.
#[must_use]
pub fn signed_by(encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let key = key();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message, &mut signature).expect("a signature");
    signature
}
