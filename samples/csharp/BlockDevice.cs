namespace Irpwright.Samples;

/// <summary>The hardware of the sample startio: 16 blocks, of which the n-th is filled with n.</summary>
public sealed class BlockDevice : IDeviceModel
{
    public const int BlockSize = 512, BlockCount = 16;

    const ulong Registers = 0xFE00_0000;
    const ulong Command = 0, Status = 4, Block = 8, Id = 12;
    const uint Done = 1, Failed = 2;

    readonly Machine machine;
    readonly InterruptPin pin;
    readonly byte[] buffer = new byte[BlockSize];
    bool interrupts;
    uint status, block;
    int position;

    /// <summary>Puts the device into a machine.</summary>
    public BlockDevice(Machine machine)
    {
        this.machine = machine;
        pin = machine.Interrupts.Line(11).AddPin();
        machine.Hardware.ConnectMemory(Registers, 16, this);
        machine.Hardware.ConnectPorts(0x300, 2, new DataPort(this));
        for (int n = 0; n < BlockCount; n++) Store.AsSpan(n * BlockSize, BlockSize).Fill((byte)n);
    }

    public byte[] Store { get; } = new byte[BlockSize * BlockCount];

    /// <summary>What one block takes.</summary>
    public static TimeSpan Latency { get; } = TimeSpan.FromMicroseconds(100);

    public ulong Read(ulong offset, int size) => offset switch
    {
        Status => status,
        Block => block,
        Id => 0x314F4953,
        _ => 0,
    };

    public void Write(ulong offset, int size, ulong value)
    {
        switch (offset, value)
        {
            case (Command, 1 or 2):
                machine.Hardware.After(this, Latency, () => Carry((uint)value));
                break;
            case (Command, _):
                interrupts = value == 3;
                if (!interrupts) pin.Lower();
                break;
            case (Status, Done):
                status = 0;
                pin.Lower();
                break;
            case (Block, _):
                block = (uint)value;
                position = 0;
                break;
        }
    }

    void Carry(uint command)
    {
        status = Done;
        position = 0;
        if (block >= BlockCount) status |= Failed;
        else if (command == 1) Store.AsSpan((int)block * BlockSize, BlockSize).CopyTo(buffer);
        else buffer.CopyTo(Store.AsSpan((int)block * BlockSize));
        if (interrupts) pin.Raise();
    }

    sealed class DataPort(BlockDevice device) : IDeviceModel
    {
        public ulong Read(ulong offset, int size)
        {
            lock (device) return (ulong)(device.Next() | device.Next() << 8);
        }

        public void Write(ulong offset, int size, ulong value)
        {
            lock (device)
            {
                device.Next() = (byte)value;
                device.Next() = (byte)(value >> 8);
            }
        }
    }

    ref byte Next() => ref buffer[position++ % BlockSize];
}
