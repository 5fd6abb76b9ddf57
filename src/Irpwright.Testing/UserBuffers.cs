using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Testing;

/// <summary>Memory of the user process that one request uses: status block, input and output.</summary>
sealed class UserBuffers
{
    const ulong HeaderSize = 0x40;

    readonly Machine machine;
    readonly Memory<byte> destination;
    readonly ulong block;
    readonly ulong size;
    bool freed;

    internal UserBuffers(Machine machine, ReadOnlySpan<byte> input, Memory<byte> destination, int outputLength)
    {
        this.machine = machine;
        this.destination = destination;
        ulong inputSize = ((ulong)input.Length + 15) & ~15UL;
        size = HeaderSize + inputSize + (ulong)outputLength;
        block = machine.Memory.AllocateUser(size);
        if (block == 0) throw new InsufficientMemoryException("The user memory of the machine is exhausted.");
        Input = block + HeaderSize;
        Output = Input + inputSize;
        if (!input.IsEmpty) input.CopyTo(GuestMemory.Write(Input, input.Length));
    }

    internal PIO_STATUS_BLOCK Iosb => new(block);

    internal ulong Input { get; }

    internal ulong Output { get; }

    /// <summary>Hands the transferred bytes to the caller and frees the memory.</summary>
    internal void CopyOut(IoResult result)
    {
        int length = result.Status.IsError ? 0 : (int)Math.Min(result.Information, (ulong)destination.Length);
        if (length > 0) GuestMemory.Read(Output, length).CopyTo(destination.Span);
        if (freed) return;
        freed = true;
        machine.Memory.FreeUser(block, size);
    }
}
