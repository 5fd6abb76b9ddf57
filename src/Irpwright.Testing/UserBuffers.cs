using Irpwright.Wdk;

namespace Irpwright.Testing;

/// <summary>Memory of the user process that one request uses: status block, input and output.</summary>
sealed class UserBuffers
{
    const ulong HeaderSize = 0x40;

    readonly UserMemory memory;
    readonly Memory<byte> destination;
    readonly UserBlock block;

    internal UserBuffers(UserMemory memory, ReadOnlySpan<byte> input, Memory<byte> destination, int outputLength)
    {
        this.memory = memory;
        this.destination = destination;
        ulong inputSize = ((ulong)input.Length + 15) & ~15UL;
        block = memory.Take(HeaderSize + inputSize + (ulong)outputLength);
        Input = block.Address + HeaderSize;
        Output = Input + inputSize;
        if (!input.IsEmpty) input.CopyTo(GuestMemory.Write(Input, input.Length));
    }

    internal PIO_STATUS_BLOCK Iosb => new(block.Address);

    internal ulong Input { get; }

    internal ulong Output { get; }

    /// <summary>Hands the transferred bytes to the caller and gives the memory back. Called once.</summary>
    internal void CopyOut(IoResult result)
    {
        int length = result.Status.IsError ? 0 : (int)Math.Min(result.Information, (ulong)destination.Length);
        if (length > 0) GuestMemory.Read(Output, length).CopyTo(destination.Span);
        memory.Return(block);
    }
}
