using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Benchmarks;

/// <summary>How a layer of the floor copies its location to the next one.</summary>
interface ICopy
{
    static abstract unsafe void Copy(Location* from, Location* to);
}

readonly struct StructCopy : ICopy
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe void Copy(Location* from, Location* to) => *to = *from;
}

readonly struct EightByteCopies : ICopy
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe void Copy(Location* from, Location* to)
    {
        for (int i = 0; i < 7; i++) ((ulong*)to)[i] = ((ulong*)from)[i];
    }
}

/// <summary>A stack location: 72 bytes, as on Windows.</summary>
[StructLayout(LayoutKind.Explicit, Size = 72)]
unsafe struct Location
{
    [FieldOffset(0x00)] public byte Major;
    [FieldOffset(0x03)] public byte Control;
    [FieldOffset(0x28)] public Device* Device;
    [FieldOffset(0x38)] public delegate*<Device*, Packet*, void*, int> Completion;
    [FieldOffset(0x40)] public void* Context;
}

unsafe struct Device
{
    public delegate*<Device*, Packet*, int> Dispatch;
    public Device* Lower;
}

unsafe struct Packet
{
    public Location* Current;
    public int Index, Count, Status;
    public bool Pending;
}

/// <summary>
/// The least that sending a packet through layers can cost in C#: locations in native memory and function pointers, with no
/// check, no clearing and no address translation.
/// </summary>
sealed unsafe class Floor<TCopy> : IDisposable where TCopy : struct, ICopy
{
    readonly Location* locations;
    readonly Device* devices;
    readonly Packet* packet;
    readonly int layers;

    public Floor(int layers)
    {
        this.layers = layers;
        locations = (Location*)NativeMemory.AllocZeroed((nuint)(layers + 2), (nuint)sizeof(Location));
        devices = (Device*)NativeMemory.AllocZeroed((nuint)(layers + 1), (nuint)sizeof(Device));
        packet = (Packet*)NativeMemory.AllocZeroed((nuint)sizeof(Packet));
        devices[0].Dispatch = &Finish;
        for (int i = 1; i <= layers; i++) devices[i] = new Device { Dispatch = &Forward, Lower = &devices[i - 1] };
    }

    public void Send(int count)
    {
        for (int i = 0; i < count; i++)
        {
            *packet = new Packet { Current = locations + layers + 1, Index = layers + 2, Count = layers + 1 };
            Location* next = packet->Current - 1;
            next->Major = 3;
            next->Completion = &Keep;
            next->Control = 0xE0;
            Call(&devices[layers], packet);
        }
    }

    static int Call(Device* device, Packet* packet)
    {
        packet->Index--;
        Location* location = --packet->Current;
        location->Device = device;
        return device->Dispatch(device, packet);
    }

    static int Forward(Device* device, Packet* packet)
    {
        Location* current = packet->Current;
        Location* next = current - 1;
        TCopy.Copy(current, next);
        next->Completion = &Done;
        next->Context = null;
        next->Control = 0xE0;
        return Call(device->Lower, packet);
    }

    static int Finish(Device* device, Packet* packet)
    {
        packet->Status = 0;
        while (packet->Index <= packet->Count)
        {
            Location* left = packet->Current++;
            packet->Index++;
            packet->Pending = (left->Control & 1) != 0;
            if ((left->Control & (packet->Status >= 0 ? 0x40 : 0x80)) == 0) continue;
            if (left->Completion(packet->Current->Device, packet, left->Context) != 0) break;
        }
        return 0;
    }

    static int Done(Device* device, Packet* packet, void* context)
    {
        if (packet->Pending) packet->Current->Control |= 1;
        return 0;
    }

    static int Keep(Device* device, Packet* packet, void* context) => 1;

    public void Dispose()
    {
        NativeMemory.Free(locations);
        NativeMemory.Free(devices);
        NativeMemory.Free(packet);
    }
}
