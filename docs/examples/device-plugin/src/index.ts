import type { Device, DevicePlugin, DevicePluginContext, DevicePluginFactory, Granted } from 'splenium';

/**
 * Seats of a floating licence: an "accelerator" that needs no hardware. The setting `seats` says how many there are of
 * each product, for example `solver:4,mesher:2`; kernels ask for the slot `license.seat`.
 */
class LicensePlugin implements DevicePlugin {
  readonly key = 'license';
  readonly allocation = { kind: 'discrete' } as const;
  readonly #seats: readonly { readonly product: string; readonly count: number }[];

  constructor(seats: string) {
    this.#seats = seats
      .split(',')
      .filter((item) => item !== '')
      .map((item) => {
        const [product = '', count = ''] = item.split(':');
        if (product === '' || !/^\d+$/.test(count))
          throw new Error(`seats: "product:count", but given "${item}"`);
        return { product, count: Number(count) };
      });
  }

  slots() {
    return [{ slotName: 'license.seat', slotType: 'count' as const }];
  }

  // Asked again on each re-scan: a real plugin would ask the licence server here.
  discover(): Promise<readonly Device[]> {
    return Promise.resolve(
      this.#seats.map(({ product, count }) => ({
        deviceId: product,
        slotName: 'license.seat',
        amount: String(count),
        modelName: `${product} seat`,
        hardwareLocation: '',
        memoryBytes: 0n,
        processingUnits: 0,
        numaNode: null,
      })),
    );
  }

  environment({ devices }: Granted) {
    return { LICENSE_SEATS: devices.map(({ device, amount }) => `${device.deviceId}=${amount}`).join(',') };
  }

  hardwareInfo() {
    return Promise.resolve({
      status: 'healthy' as const,
      statusInfo: null,
      metadata: { products: this.#seats.map(({ product }) => product).join(',') },
    });
  }
}

const factory: DevicePluginFactory = {
  apiVersion: 1,
  create: ({ settings, logger }: DevicePluginContext) => {
    const seats = settings['seats'];
    if (seats === undefined || seats === '') {
      logger.info('no seats configured');
      return Promise.resolve(undefined);
    }
    return Promise.resolve(new LicensePlugin(seats));
  },
};

export default factory;
