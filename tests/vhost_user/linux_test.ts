import { GUEST_LIMIT } from "../cli_helper.ts";
import { testWithRights } from "../with_rights.ts";
import { LinuxRig } from "./linux_rig.ts";

// One boot, with all that one guest can use; `make peers` does more of each, on both QEMUs.
testWithRights(
  import.meta.url,
  "vhost-user: Linux's own drivers on our served blk, net, rng, scsi and vsock",
  async () => {
    await using rig = await LinuxRig.start(128);
    await rig.boot({ files: 8, rawAt: 64, raw: 8, tcp: 4, vsock: 512, reboot: false });
  },
  { timeout: GUEST_LIMIT },
);
