using Irpwright.Kernel;

namespace Irpwright.Testing;

/// <summary>Memory of the user process for the requests of one handle.</summary>
/// <remarks>Keeps a block for the next request: taking pages from the machine and giving them back costs more than a request.</remarks>
sealed class UserMemory(Machine machine) : IDisposable
{
    const ulong LargestKept = 64 * 1024;

    readonly Lock gate = new();
    UserBlock kept;
    bool disposed;

    internal UserBlock Take(ulong size)
    {
        lock (gate)
        {
            if (kept.Size >= size)
            {
                UserBlock block = kept;
                kept = default;
                return block;
            }
        }
        ulong address = machine.Memory.AllocateUser(size);
        return address != 0 ? new UserBlock(address, size) : throw new InsufficientMemoryException("The user memory of the machine is exhausted.");
    }

    internal void Return(UserBlock block)
    {
        lock (gate)
        {
            if (!disposed && block.Size <= LargestKept && block.Size > kept.Size) (kept, block) = (block, kept);
        }
        Free(block);
    }

    public void Dispose()
    {
        UserBlock block;
        lock (gate)
        {
            disposed = true;
            (kept, block) = (default, kept);
        }
        Free(block);
    }

    void Free(UserBlock block)
    {
        if (block.Size > 0) machine.Memory.FreeUser(block.Address, block.Size);
    }
}

/// <param name="Address">User address.</param>
/// <param name="Size">Bytes.</param>
readonly record struct UserBlock(ulong Address, ulong Size);
