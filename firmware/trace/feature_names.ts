import {
  BalloonFeature,
  BlkFeature,
  ConsoleFeature,
  CryptoFeature,
  DeviceId,
  type FeatureNames,
  GpuFeature,
  NetFeature,
  P9Feature,
  RpmsgFeature,
  ScsiFeature,
  VsockFeature,
} from "@vireo/hal";

/** The names of each device type's own features. */
export const FEATURE_NAMES: Readonly<Record<number, FeatureNames>> = {
  [DeviceId.NET]: NetFeature,
  [DeviceId.BLOCK]: BlkFeature,
  [DeviceId.CONSOLE]: ConsoleFeature,
  [DeviceId.BALLOON]: BalloonFeature,
  [DeviceId.RPMSG]: RpmsgFeature,
  [DeviceId.SCSI]: ScsiFeature,
  [DeviceId.NINE_P]: P9Feature,
  [DeviceId.GPU]: GpuFeature,
  [DeviceId.VSOCK]: VsockFeature,
  [DeviceId.CRYPTO]: CryptoFeature,
};
