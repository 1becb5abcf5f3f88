// Written by `make help-text`.

/** Ranges of columns, from the first to the last, at which the parser prints this text. */
export const UNWRAPPED: readonly (readonly [from: number, to: number])[] = [[1, 39], [64, 86], [
  127,
  Infinity,
]];

/** Text of `vireo --help`. */
export const HELP_TEXT: string = `Usage: vireo [options] [command]

Virtio drivers in TypeScript, on an emulated board or a real one

Options:
  -V, --version                                output the version number
  -h, --help                                   display help for command

Commands:
  probe [options]                              list the devices: what they offered and what was negotiated
  inspect [options]                            show the rings of a board: descriptors, entries, what is in flight, QEMU's view
  check [options] [driver] [script] [args...]  look at devices clause by clause, without our drivers; or at a driver
  boards [options]                             list the boards, and which targets each supports
  demo [options]                               drive all four devices of a board and report what each did
  run [options] <script> [args...]             run a TypeScript file with the board's bus and drivers
  new <kind> <name>                            write a folder with a driver, a device or a script of yours, and a test of it
  deno [args...]                               run the Deno that Vireo has, for checks and tests of your own files
  shell [options]                              a TypeScript REPL with bus, blk, net, con and rng in scope
  serve [options] <device>                     serve a device at a vhost-user socket, for QEMU's guests and other front ends
  image [options]                              write a kernel and an initramfs that boot into the REPL, and QEMU's command line
  boot [options]                               boot a guest into the REPL, which has the board's drivers in scope
  blk                                          read, write and measure a disk
  net                                          ping, send, capture and measure a network
  balloon                                      the memory balloon: give the guest's memory to the host and take it back
  rpmsg                                        messages to and from a remote processor
  scsi                                         SCSI disks and CDs
  9p                                           files of the host, by 9P
  rproc-serial                                 the serial line of a remote processor
  caif                                         frames to and from a modem
  gpu                                          displays: what they are, and a test card on them
  input                                        keyboards, mice, tablets and touch screens
  vsock                                        sockets between guest and host
  crypto                                       ciphers, hashes, MACs and RSA on a device
  console [options]                            connect standard input and output to a console port
  rng [options] [bytes]                        write random bytes from the entropy device
  complete [shell]                             print a script with which a shell completes vireo's command lines
  record [command...]                          run a command, and keep what the devices do for 'vireo replay'
  replay [options] <recording>                 run a recorded command again, with the recording in place of the devices
  help [command...]                            display help for command

Example:
  \$ vireo probe
  \$ vireo blk read --blk disk.img --sector 0 --count 1 | xxd | head

Errors show frames of your own files; VIREO_STACKS=1 shows all.
`;
